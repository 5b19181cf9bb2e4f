"""The whole stack on one machine: services, the development host, a demo fleet. Nothing here runs in Azure."""
