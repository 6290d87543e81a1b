"""Learning: the training loop, distillation, augmentation."""
