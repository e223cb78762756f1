"""Policy: controls, weights and tiers as data; a pure evaluator; questionnaires. Knows no table, no door."""
