"""Who answers: the models of the local gateway."""
