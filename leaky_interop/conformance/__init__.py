"""The conformance suite: one definition of LeakyReLU, exact, and every runtime held to it.

* `cases.py`: what is asked. `oracle.py`: what is right, by integer arithmetic.
* `runtimes/`: one file each, run by `worker.py` in a process of its own. `environments.py`: interpreters for them.
* `verdicts.py`: an answer against the oracle. `known/`: the differences that have been found and understood.
* `running.py` puts them together; `record.py` is what comes out.
"""
