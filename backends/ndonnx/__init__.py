"""Activations as ONNX models: their formulas are traced by ndonnx, and run by onnxruntime."""
