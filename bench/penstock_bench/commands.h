#pragma once

namespace penstock::bench {

// The sub-commands, one a file. argv[0] is the sub-command's name. Each returns the exit status
// and has said on standard error, in one line, what went wrong.
int run_replicate(int argc, const char* const* argv);
int run_relay(int argc, const char* const* argv);
int run_latency(int argc, const char* const* argv);
int run_fairness(int argc, const char* const* argv);
int run_join(int argc, const char* const* argv);
int run_memory(int argc, const char* const* argv);

}  // namespace penstock::bench
