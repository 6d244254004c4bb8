"""The report on a deployment's routes and their answers: `lunos check --deep`."""
