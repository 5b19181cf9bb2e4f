"""The control plane, and the few pages that nodes share with it. Read domain, contract, ports, in this order."""
