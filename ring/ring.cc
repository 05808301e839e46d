#include "ring/ring.h"

#include <xxhash.h>

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sharder::ring {
namespace {

using Claim = std::pair<std::uint64_t, std::uint32_t>;  // a token and the index of the shard that claims it

void claim_tokens(std::string shard, std::uint32_t index, std::vector<Claim>& claims) {
  const std::size_t length = shard.size();
  shard.resize(length + 2);  // room for the digits of 0..99
  static_assert(Ring::kTokensPerShard <= 100);
  for (int i = 0; i < Ring::kTokensPerShard; ++i) {
    const auto end = std::to_chars(shard.data() + length, shard.data() + shard.size(), i).ptr;
    claims.emplace_back(hash({shard.data(), end}), index);
  }
}

}  // namespace

std::uint64_t hash(std::string_view text) {
  return XXH64(text.data(), text.size(), 0);
}

Ring::Ring(std::vector<std::string> shards) : shards_(std::move(shards)) {
  std::ranges::sort(shards_);
  const auto duplicates = std::ranges::unique(shards_);
  shards_.erase(duplicates.begin(), duplicates.end());

  std::vector<Claim> claims;
  claims.reserve(shards_.size() * kTokensPerShard);
  for (std::uint32_t index = 0; index < shards_.size(); ++index) {
    claim_tokens(shards_[index], index, claims);
  }
  // The names are sorted, so of two claims of a token the one of the smallest name comes first and stays.
  std::ranges::sort(claims);
  tokens_.reserve(claims.size());
  owners_.reserve(claims.size());
  for (const auto& [token, owner] : claims) {
    if (tokens_.empty() || tokens_.back() != token) {
      tokens_.push_back(token);
      owners_.push_back(owner);
    }
  }
}

std::optional<std::string_view> Ring::owner(std::string_view key) const {
  if (tokens_.empty()) {
    return std::nullopt;
  }
  return shards_[owners_[token_of(hash(key))]];
}

std::size_t Ring::token_of(std::uint64_t hash) const {
  const auto token = std::ranges::lower_bound(tokens_, hash);
  return token == tokens_.end() ? 0 : static_cast<std::size_t>(token - tokens_.begin());
}

std::vector<std::uint32_t> Ring::sample(std::size_t count) const {
  std::vector<std::uint32_t> owners;
  if (tokens_.empty() || count == 0) {
    return owners;
  }
  owners.reserve(count);
  const std::uint64_t step = std::numeric_limits<std::uint64_t>::max() / count;
  for (std::size_t i = 0; i < count; ++i) {
    owners.push_back(owners_[token_of(step / 2 + i * step)]);
  }
  return owners;
}

std::vector<double> Ring::shares() const {
  std::vector<double> shares(shards_.size(), 0);
  if (tokens_.size() == 1) {
    shares[owners_.front()] = 1;
    return shares;
  }
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const std::uint64_t before = i == 0 ? tokens_.back() : tokens_[i - 1];
    // Unsigned, so the first token's arc is the one that wraps around. 2^64 keys in all.
    shares[owners_[i]] += static_cast<double>(tokens_[i] - before) * 0x1p-64;
  }
  return shares;
}

std::uint64_t Ring::members_hash() const {
  std::string names;
  for (const std::string& shard : shards_) {
    names += shard;
    names += '/';  // in no name
  }
  return hash(names) >> 16;
}

bool Ring::contains(std::string_view shard) const {
  return std::ranges::binary_search(shards_, shard, std::less<>{});
}

}  // namespace sharder::ring
