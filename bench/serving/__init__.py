"""What one presence server carries: how bench/presence measures and reports.

    programs  penstock-presence and penstock-presence-load, each on a CPU of its own
    trials    requests, renewals and memory, measured
    report    outcomes as a table, as JSON, and as a folder of results

Standard library only. Start reading at trials.
"""
