"""Dynamic evaluation: a model that goes on learning from the text it is scored on."""
