#include "tests/support/transcript.h"

#include <doctest/doctest.h>

#include "tests/unit/membership/simulation.h"

// Transcripts: commands in, what happens out (tests/testdata/membership/README.md).
TEST_CASE("each transcript of membership plays as it is written down (protocol, 3 and 9)") {
  sharder::testing::check_transcripts<sharder::testing::Simulation>("membership");
}
