"""The page for making a card: the sidebar as an agent sees it, live while template, config and data change."""
