"""From records to the HTML of a card: the built-in card, templates, and what they share."""
