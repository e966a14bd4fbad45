"""Ways to pay, each an implementation of the PaymentRail port."""
