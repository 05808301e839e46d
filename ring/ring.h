#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace sharder::ring {

// XXH64 with seed 0, the protocol's hash.
std::uint64_t hash(std::string_view text);

// One controller ring's assignment: an immutable snapshot, safe from any thread. Rebuilt by membership/, never changed.
class Ring {
 public:
  // Tokens of shard s: hash(s + decimal(i)) for i = 0..99 (protocol, 4).
  static constexpr int kTokensPerShard = 100;

  // `shards`: names of the members, in any order, duplicates ignored. Two shards with the same token: the
  // bytewise smallest name has it.
  explicit Ring(std::vector<std::string> shards);

  // Shard that owns `key`, or nullopt for a ring without members; the view lives as long as this Ring.
  // A key belongs to the first token >= hash(key), wrapping around. O(log tokens), no allocation.
  std::optional<std::string_view> owner(std::string_view key) const;

  // The owners of `count` keys that are spread evenly over the ring, in its order, as indexes of shards(): what a
  // picture of the ring needs. Empty for a ring without members.
  std::vector<std::uint32_t> sample(std::size_t count) const;
  // The part of all possible keys that each shard owns, in the order of shards(); their sum is 1.
  std::vector<double> shares() const;

  // The same for all rings with the same members, whatever process computes it: 48 bits, so that a double holds it
  // exactly.
  std::uint64_t members_hash() const;

  bool contains(std::string_view shard) const;
  // Sorted, without duplicates.
  const std::vector<std::string>& shards() const { return shards_; }

 private:
  // The place in tokens_ of the token to which this hash of a key belongs.
  std::size_t token_of(std::uint64_t hash) const;

  // Sorted bytewise. Tokens and owners stand in arrays of their own: the search touches tokens alone.
  std::vector<std::string> shards_;
  std::vector<std::uint64_t> tokens_;  // sorted, unique
  std::vector<std::uint32_t> owners_;  // index into shards_, same order as tokens_
};

}  // namespace sharder::ring
