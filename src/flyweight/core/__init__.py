"""What every other room speaks: tasks, steps, recipes, points, frontiers, errors."""
