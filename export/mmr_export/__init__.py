"""The PyTorch side of mmr: AudioCLIP as a model, its checkpoints, training, and the export to ONNX bundles."""
