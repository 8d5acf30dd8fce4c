"""Our activations in timm, PyTorch Image Models. It is no backend: what it has itself is torch's."""
