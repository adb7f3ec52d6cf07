"""The studio: a window in which a therapist makes an exercise, step by step.

`presenter` decides and knows no toolkit; `app` puts presenter, worker and window together; `window` is the
frame around the steps; `new`, `record`, `check`, `messages`, `attempt` and `save` show one step each.
"""
