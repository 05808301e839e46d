#include "tests/support/transcript.h"

#include <doctest/doctest.h>

#include "tests/unit/rebalancer/simulation.h"

// Transcripts: commands in, requests out (tests/testdata/rebalancer/README.md).
TEST_CASE("each transcript of the rebalancer plays as it is written down (protocol, 6 and 9)") {
  sharder::testing::check_transcripts<sharder::testing::RebalancerSimulation>("rebalancer");
}
