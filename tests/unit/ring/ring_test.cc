#include "ring/ring.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <map>
#include <new>
#include <nlohmann/json.hpp>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <string_view>
#include <vector>

using sharder::ring::Ring;

namespace {

std::atomic<std::size_t> allocations = 0;

}  // namespace

// Every allocation of this program is counted, so that a test can show that a lookup makes none. Not inlined: GCC would
// see free() get what it knows to be new's.
[[gnu::noinline]] void* operator new(std::size_t size) {
  allocations.fetch_add(1, std::memory_order_relaxed);
  if (void* memory = std::malloc(size)) {
    return memory;
  }
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace {

nlohmann::json vectors() {
  std::ifstream file(SHARDER_TESTDATA "/vectors/ring.json");
  REQUIRE(file.is_open());
  return nlohmann::json::parse(file);
}

// The protocol's words as code, the slow way: a map of tokens that is walked from its beginning.
class NaiveRing {
 public:
  explicit NaiveRing(const std::vector<std::string>& shards) {
    for (const auto& shard : shards) {
      for (int i = 0; i < 100; ++i) {
        auto& owner = owners_[sharder::ring::hash(shard + std::to_string(i))];
        owner = owner.empty() ? shard : std::min(owner, shard);
      }
    }
  }
  std::optional<std::string> owner(const std::string& key) const {
    const auto position = sharder::ring::hash(key);
    for (const auto& [token, owner] : owners_) {
      if (token >= position) {
        return owner;
      }
    }
    return owners_.empty() ? std::nullopt : std::optional(owners_.begin()->second);
  }

 private:
  std::map<std::uint64_t, std::string> owners_;
};

// Names as StatefulSets and Deployments give them, from a small space, so that tokens collide often.
std::vector<std::string> random_shards(std::mt19937& random) {
  std::vector<std::string> shards(std::uniform_int_distribution<std::size_t>(0, 20)(random));
  for (auto& shard : shards) {
    shard = random() % 4 == 0 ? "ctl-5d9c7f-" + std::to_string(random() % 1000) : "c-" + std::to_string(random() % 150);
  }
  return shards;
}

std::string random_key(std::mt19937& random) {
  return "apps/Deployment/ns-" + std::to_string(random() % 10) + "/d-" + std::to_string(random());
}

std::optional<std::string> owner_of(const Ring& ring, const std::string& key) {
  const auto owner = ring.owner(key);
  return owner ? std::optional<std::string>(*owner) : std::nullopt;
}

}  // namespace

// protocol, 4
TEST_CASE("hashes are those of the Go sharder") {
  const nlohmann::json hashes = vectors().at("hash");
  REQUIRE(hashes.size() == 5);
  for (const auto& [text, expected] : hashes.items()) {
    CAPTURE(text);
    std::uint64_t value = 0;
    const auto hex = expected.get<std::string>();
    std::from_chars(hex.data(), hex.data() + hex.size(), value, 16);
    CHECK(sharder::ring::hash(text) == value);
  }
}

TEST_CASE("owners are those of the Go sharder") {
  std::set<std::string> names;
  std::size_t keys = 0;
  const nlohmann::json rings = vectors().at("rings");
  for (const auto& expected : rings) {
    names.insert(expected.at("name").get<std::string>());
    const Ring ring(expected.at("shards").get<std::vector<std::string>>());
    for (const auto& [key, owner] : expected.at("owners").items()) {
      CAPTURE(expected.at("name"));
      CAPTURE(key);
      CHECK(owner_of(ring, key) == owner.get<std::string>());
      ++keys;
    }
  }
  CHECK(names.size() == 6);
  CHECK(names.contains("collisions"));
  CHECK(keys >= 200);
}

TEST_CASE("a ring without shards owns nothing") {
  const Ring ring({});
  CHECK(ring.owner("/Secret/default/foo") == std::nullopt);
  CHECK(ring.owner("") == std::nullopt);
  CHECK_FALSE(ring.contains(""));
  CHECK(ring.shards().empty());
}

TEST_CASE("shards are sorted and counted once") {
  const Ring ring({"b", "a", "c", "a"});
  CHECK(ring.shards() == std::vector<std::string>{"a", "b", "c"});
  CHECK(ring.contains("a"));
  CHECK(ring.contains("c"));
  CHECK_FALSE(ring.contains("d"));
  CHECK_FALSE(ring.contains(""));
}

TEST_CASE("of two shards with the same token the bytewise smallest has it") {
  // hash("ctl-1" + "10") is hash("ctl-11" + "0"): the key that lies exactly on the token.
  CHECK(Ring({"ctl-1", "ctl-11"}).owner("ctl-110") == "ctl-1");
  CHECK(Ring({"ctl-11", "ctl-1"}).owner("ctl-110") == "ctl-1");
  CHECK(Ring({"ctl-11"}).owner("ctl-110") == "ctl-11");
}

TEST_CASE("a key on a token belongs to it, one behind the last token to the first") {
  const std::vector<std::string> shards = {"shard-0", "shard-1", "shard-2"};
  std::map<std::uint64_t, std::string> tokens;
  for (const auto& shard : shards) {
    for (int i = 0; i < 100; ++i) {
      tokens.emplace(sharder::ring::hash(shard + std::to_string(i)), shard);
    }
  }
  const Ring ring(shards);
  for (const auto& shard : shards) {
    CHECK(ring.owner(shard + "0") == shard);  // its hash is the shard's first token
  }
  const auto [last, last_owner] = *tokens.rbegin();
  const auto [first, first_owner] = *tokens.begin();
  std::size_t behind = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string key = "k" + std::to_string(i);
    if (sharder::ring::hash(key) > last) {
      CHECK(ring.owner(key) == first_owner);
      ++behind;
    } else if (sharder::ring::hash(key) <= first) {
      CHECK(ring.owner(key) == first_owner);
    }
  }
  CHECK(behind > 0);
}

TEST_CASE("random rings decide as the naive model does, in whatever order their shards come") {
  std::mt19937 random(20260101);
  for (int round = 0; round < 60; ++round) {
    auto shards = random_shards(random);
    const NaiveRing naive(shards);
    const Ring ring(shards);
    std::ranges::shuffle(shards, random);
    const Ring shuffled(shards);
    CHECK(ring.shards() == shuffled.shards());
    for (int i = 0; i < 50; ++i) {
      const std::string key = random_key(random);
      CAPTURE(round);
      CAPTURE(key);
      const auto expected = naive.owner(key);
      CHECK(owner_of(ring, key) == expected);
      CHECK(owner_of(shuffled, key) == expected);
    }
  }
}

TEST_CASE("a shard that goes takes no other shard's keys with it") {
  std::mt19937 random(7);
  for (int round = 0; round < 40; ++round) {
    const auto shards = Ring(random_shards(random)).shards();
    if (shards.size() < 2) {
      continue;
    }
    const std::string gone = shards[random() % shards.size()];
    auto rest = shards;
    std::erase(rest, gone);
    const Ring before(shards);
    const Ring after(rest);
    for (int i = 0; i < 300; ++i) {
      const std::string key = random_key(random);
      const auto old_owner = owner_of(before, key);
      if (old_owner != gone) {
        CAPTURE(key);
        CHECK(owner_of(after, key) == old_owner);
      } else {
        CHECK(owner_of(after, key) != gone);
      }
    }
  }
}

TEST_CASE("a lookup does not allocate") {
  const Ring ring({"shard-with-a-name-too-long-for-a-small-string-0", "shard-1", "shard-2"});
  const std::string key = "apps.example.com/Deployment/a-namespace-with-a-long-name/a-deployment-with-a-long-name";
  const auto before = allocations.load();
  std::size_t found = 0;
  for (int i = 0; i < 1000; ++i) {
    found += ring.owner(key).has_value() ? 1U : 0U;
    found += ring.contains("shard-1") ? 1U : 0U;
  }
  const auto after = allocations.load();
  CHECK(found == 2000);
  CHECK(after == before);
}

TEST_CASE("shares add up to 1, and are what evenly spread keys show") {
  const Ring ring({"a", "b", "c"});
  const auto shares = ring.shares();
  REQUIRE(shares.size() == 3);
  CHECK(shares[0] + shares[1] + shares[2] == doctest::Approx(1));
  constexpr std::size_t kKeys = 100'000;
  std::vector<std::size_t> found(3);
  for (const auto owner : ring.sample(kKeys)) {
    ++found[owner];
  }
  for (std::size_t i = 0; i < 3; ++i) {
    CHECK(static_cast<double>(found[i]) / kKeys == doctest::Approx(shares[i]).epsilon(0.01));
  }
}

TEST_CASE("the pictures of a ring of one shard, and of none") {
  const Ring one({"a"});
  REQUIRE(one.shares().size() == 1);
  CHECK(one.shares()[0] == doctest::Approx(1));
  CHECK(one.sample(5) == std::vector<std::uint32_t>(5, 0));
  CHECK(one.sample(0).empty());
  const Ring none({});
  CHECK(none.shares().empty());
  CHECK(none.sample(5).empty());
}
