"""What tf_keras, which is Keras 2 calls an activation, and how it is judged. It is no backend: nothing of ours runs on it."""
