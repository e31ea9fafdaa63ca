"""Help Scout's Inbox API: which addresses a customer's id stands for, asked by the steward and by `check`."""
