"""Load tests: signed requests made from the customers, sent at a rate, timed, compared and reported."""
