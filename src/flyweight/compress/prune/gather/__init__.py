"""What scores ask for, collected: gradients, curvature, inputs."""
