#include "http/roster.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace sharder::http {
namespace {

// How long a client may go on sending after the answer; its bytes are dropped.
constexpr std::chrono::seconds kLingerTime{2};

constexpr std::array kFreshStages = {Stage::kHandshake, Stage::kIdle, Stage::kHead, Stage::kBody};

}  // namespace

Roster::Roster(const Limits& limits)
    : allowed_{limits.handshake_timeout, limits.idle_timeout, limits.header_timeout, limits.body_timeout, std::nullopt,
               limits.write_timeout,     kLingerTime} {}

void Roster::add(std::shared_ptr<Member> member, Stage stage, SteadyTime now) {
  Member& added = *member;
  added.stage_ = stage;
  added.since_ = now;
  auto& list = list_of(added);
  added.place_ = list.insert(list.end(), std::move(member));
}

void Roster::move(Member& member, Stage stage, SteadyTime now) {
  auto& from = list_of(member);
  member.stage_ = stage;
  member.since_ = now;
  if (stage == Stage::kHandling && member.standing_ == Standing::kFresh) {
    member.standing_ = Standing::kSeasoned;
  }
  auto& to = list_of(member);
  to.splice(to.end(), from, member.place_);
}

std::shared_ptr<Member> Roster::remove(Member& member) {
  std::shared_ptr<Member> owned = std::move(*member.place_);
  list_of(member).erase(member.place_);
  member.stage_ = Stage::kClosed;
  return owned;
}

SteadyTime Roster::deadline(const Member& member) const {
  const auto& allowed = allowed_[static_cast<std::size_t>(member.stage_)];
  return allowed ? member.since_ + *allowed : SteadyTime::max();
}

SteadyTime Roster::next_deadline() const {
  SteadyTime next = SteadyTime::max();
  for (const auto& list : lists_) {
    if (!list.empty()) {
      next = std::min(next, deadline(*list.front()));
    }
  }
  return next;
}

std::vector<std::shared_ptr<Member>> Roster::expired(SteadyTime now) const {
  std::vector<std::shared_ptr<Member>> found;
  for (const auto& list : lists_) {
    for (auto member = list.begin(); member != list.end() && deadline(**member) <= now; ++member) {
      found.push_back(*member);
    }
  }
  return found;
}

std::vector<std::shared_ptr<Member>> Roster::all() const {
  std::vector<std::shared_ptr<Member>> found;
  for (const auto& list : lists_) {
    found.insert(found.end(), list.begin(), list.end());
  }
  return found;
}

std::shared_ptr<Member> Roster::victim() const {
  for (const Standing standing : {Standing::kFresh, Standing::kSeasoned}) {
    if (const auto& lingering = list(Stage::kLingering, standing); !lingering.empty()) {
      return lingering.front();
    }
  }
  std::shared_ptr<Member> oldest;
  for (const Stage stage : kFreshStages) {
    if (const auto& members = list(stage, Standing::kFresh);
        !members.empty() && (!oldest || members.front()->since_ < oldest->since_)) {
      oldest = members.front();
    }
  }
  if (const auto& idle = list(Stage::kIdle, Standing::kSeasoned); !oldest && !idle.empty()) {
    oldest = idle.front();
  }
  return oldest;
}

std::size_t Roster::fresh_victims() const {
  std::size_t count =
      list(Stage::kLingering, Standing::kFresh).size() + list(Stage::kLingering, Standing::kSeasoned).size();
  for (const Stage stage : kFreshStages) {
    count += list(stage, Standing::kFresh).size();
  }
  return count;
}

std::size_t Roster::idle_victims() const {
  return list(Stage::kIdle, Standing::kSeasoned).size();
}

}  // namespace sharder::http
