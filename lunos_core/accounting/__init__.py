"""The usage and cost of calls: usage, prices, ledgers and stores."""
