"""HTTP: who may call, what is asked, and what is answered."""
