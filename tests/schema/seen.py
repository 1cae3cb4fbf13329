"""Notes how each operation was answered: a run that sees nothing but refusals shows nothing."""

import os

import schemathesis


@schemathesis.hook
def after_call(_context, case, response):
    with open(os.environ["SCHEMA_SEEN"], "a") as seen:
        print(case.operation.label, response.status_code, file=seen)
