"""The page on which a card is made: the sidebar as an agent sees it, live while template, config and data change."""
