"""Which routes a deployment of Lunos has, and how they answer: `lunos check --deep`."""
