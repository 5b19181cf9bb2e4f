"""Pure. What the ledger records: runs, chunks, attempts, requests, and the states that may follow each other."""
