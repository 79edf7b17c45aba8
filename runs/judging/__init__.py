"""The rubric judge: a model answers each criterion for a run, and the server checks the evidence it quotes.

`prompts`, `evidence`, `answers`, `checking`, `suspicion`, `scoring` and `agreement` are plain Python. `client` speaks
to the model, `execution` does one judgement, `actions` is what pages, commands and jobs call.
"""
