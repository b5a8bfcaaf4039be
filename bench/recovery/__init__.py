"""Parts of bench/failover: what happens to content when a server dies, measured.

    stage         the servers, publishers and consumers that a figure needs, as real processes
    arrivals      when content reaches the consumers' host
    trials        one trial of each kind with one presence server
    leadership    the same with three on an etcd
    figures       the figures, their limits, and what became of them; start reading here
    side_by_side  trials in several worlds at once
    report        a folder in bench/results
"""
