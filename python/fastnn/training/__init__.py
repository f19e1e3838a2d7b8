"""The training loop and what it is made of. Nothing here is imported by layers, losses or optimizers."""
