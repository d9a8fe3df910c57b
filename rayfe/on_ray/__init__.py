"""Requests answered on Ray: sessions, the pool of evaluators, trials and the sweep."""
