"""HTTP: authorization, requests and answers."""
