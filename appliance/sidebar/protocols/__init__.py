"""How help desks ask and are answered: one module a protocol, and what protocols share."""
