"""Gaussians to a screen: a page of our own for any browser, its server, live training and single files to share."""

__all__: list[str] = []
