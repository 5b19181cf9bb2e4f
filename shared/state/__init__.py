"""Pure. What the ledger records: runs, chunks, attempts, requests, and what may follow what."""
