"""What calls use and cost: usage, prices, ledgers."""
