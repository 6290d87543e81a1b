"""Tasks on real data that come with the package."""
