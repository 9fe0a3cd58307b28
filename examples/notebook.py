"""A notebook, as a script with cells: warn while you explore, and see who paid.

Run it with `python examples/notebook.py`, or cell by cell. It needs neither key nor network.
"""

# %% A server of this machine plays the API's part. In a real notebook this cell is not there.
from openai_project_guard.loopback import loopback_api

SUPPORT = "sk-proj-demo-support-not-a-real-key-Ab3d"
BILLING = "sk-proj-demo-billing-not-a-real-key-Ef5g"
server = loopback_api({SUPPORT: "proj_support", BILLING: "proj_billing"})
api = server.__enter__()

# %% Switch the guard on. In warn mode everything is sent, and what is wrong is told.
import openai_project_guard
from openai_project_guard import Verdict

verdicts: list[Verdict] = []
openai_project_guard.enable("warn", registry={"proj_support": SUPPORT, "proj_billing": BILLING})
openai_project_guard.add_observer(verdicts.append)

# %% The usual slip: a client made for one project, then the other's key.
from openai import OpenAI

support = OpenAI(api_key=SUPPORT, project="proj_support", base_url=api.base_url)
print(support.responses.create(model="gpt-4o-mini", input="hello").output_text)

billing = support.with_options(api_key=BILLING)  # still says proj_support
try:
    billing.responses.create(model="gpt-4o-mini", input="hello")
except Exception as error:
    print(f"The server: {error}")

# %% What was seen.
for verdict in verdicts:
    print(verdict.outcome, verdict.reason, verdict.key_hint, "said", verdict.actual)

# %% Explored enough: from here on nothing wrong leaves.
openai_project_guard.enable(registry={"proj_support": SUPPORT, "proj_billing": BILLING})
try:
    billing.responses.create(model="gpt-4o-mini", input="hello")
except openai_project_guard.ProjectGuardError as error:
    print(f"The guard: {error}")

print(f"Paid: {api.billed}")

# %% The end of the loopback server.
server.__exit__(None, None, None)
