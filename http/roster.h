#pragma once

#include <array>
#include <cstddef>
#include <list>
#include <memory>
#include <optional>
#include <vector>

#include "base/clock.h"
#include "http/limits.h"

namespace sharder::http {

// What a connection does now. Each stage has a deadline of its own, counted from its begin.
enum class Stage {
  kHandshake,
  kIdle,  // no byte of the next request is there
  kHead,
  kBody,
  kHandling,   // the handler has the request; no deadline
  kWriting,    // the client does not read the answer fast enough
  kLingering,  // answered and shut down; further input is dropped, because a reset could lose the answer
  kClosed,
};
inline constexpr std::size_t kStages = 7;  // kClosed is in no list

enum class Standing {
  kFresh,     // has not sent a whole request yet
  kSeasoned,  // has sent one
  kShed,      // past the limit, only answered with 503; no victim, else overload would drop connections silently
};
inline constexpr std::size_t kStandings = 3;

// The roster's part of a connection.
class Member {
 public:
  explicit Member(Standing standing = Standing::kFresh) : standing_(standing) {}
  virtual ~Member() = default;
  Stage stage() const { return stage_; }
  Standing standing() const { return standing_; }

 private:
  friend class Roster;
  using List = std::list<std::shared_ptr<Member>>;
  Stage stage_ = Stage::kClosed;
  Standing standing_;
  SteadyTime since_;
  List::iterator place_;
};

// Owns one loop's connections, in a list for each stage, oldest first. All connections in a stage may stay in it
// equally long, so the first to expire and the longest idle are at the front. A change of stage costs a splice, no
// allocation and no timer. Pure; one thread.
class Roster {
 public:
  explicit Roster(const Limits& limits);

  void add(std::shared_ptr<Member> member, Stage stage, SteadyTime now);
  // kHandling: the request has come in whole, so a fresh member is seasoned.
  void move(Member& member, Stage stage, SteadyTime now);
  // Gives up the ownership; the stage becomes kClosed.
  std::shared_ptr<Member> remove(Member& member);

  // When the next deadline of any member is; SteadyTime::max() without one.
  SteadyTime next_deadline() const;
  SteadyTime deadline(const Member& member) const;
  std::vector<std::shared_ptr<Member>> expired(SteadyTime now) const;
  std::vector<std::shared_ptr<Member>> all() const;

  // The connection to close when there are too many: first one that only lingers, then one that never completed a
  // request (the one that has been longest in its stage), then the longest idle one. None with a request in flight.
  std::shared_ptr<Member> victim() const;
  // How many victims there are that never completed a request (or linger), and how many idle ones.
  std::size_t fresh_victims() const;
  std::size_t idle_victims() const;

 private:
  static std::size_t index(Stage stage, Standing standing) {
    return static_cast<std::size_t>(stage) * kStandings + static_cast<std::size_t>(standing);
  }
  Member::List& list_of(const Member& member) { return lists_[index(member.stage_, member.standing_)]; }
  const Member::List& list(Stage stage, Standing standing) const { return lists_[index(stage, standing)]; }

  std::array<std::optional<SteadyTime::duration>, kStages> allowed_;
  std::array<Member::List, kStages * kStandings> lists_;
};

}  // namespace sharder::http
