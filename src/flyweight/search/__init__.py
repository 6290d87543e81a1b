"""Which recipes to try: the survey's strategies, free search, and the loop that makes points of them."""
