// The part of simulated shards that has to be fast: watches the objects of a ring for all its shards and acknowledges
// drains as protocol.md section 5 and 6 say. shards.py drives it: a command a line on standard input, an answer in JSON
// a line on standard output. It ends when standard input does. It shares no code with the sharder.
//
//   agent --server URL [--ca FILE] [--certificate FILE --key FILE] --ring NAME [--workers N]
//         [--main PATH]... [--controlled PATH]...      list paths, like /api/v1/namespaces/default/secrets
//   $AGENT_TOKEN: a bearer token instead of the certificate
//   N acknowledgements are under way at a time.
//
//   run SHARD...          these shards work from now on
//   stop SHARD TIME       it does not any more; its objects may be moved from that time on, seconds since the epoch
//   acknowledge on|off SHARD...
//   like-go SHARD...      these remove both labels when they acknowledge; the others set the drain's target
//   mark                  counts and times begin anew
//   report                counts, see objects.cc
//   history FILE          writes who worked on which object, when

#include <poll.h>
#include <simdjson.h>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <optional>
#include <protozero/pbf_reader.hpp>
#include <sstream>
#include <thread>

#include "objects.h"
#include "server.h"

namespace agent {
namespace {

using nlohmann::json;

// Keeps `objects` up to date with one resource, for ever. Lists, then follows; a stream that broke goes on where it
// was, and after an ERROR everything is listed anew.
class Follower {
 public:
  Follower(const Server& server, Objects& objects, std::string path, std::size_t resource)
      : connection_(server), objects_(objects), path_(std::move(path)), resource_(resource) {}

  // One whole list; false when the server did not answer.
  bool list() {
    std::set<std::string> keys;
    std::string token;
    do {
      const auto answer = connection_.get(path_ + "?limit=500" + (token.empty() ? "" : "&continue=" + encoded(token)));
      if (answer.status != 200) {
        return false;
      }
      token = read_page(answer.body, keys);
    } while (!token.empty());
    objects_.listed(resource_, keys);
    return true;
  }

  void follow() {
    while (true) {
      const auto began = now();
      const auto status =
          connection_.stream(path_ + "?watch=1&allowWatchBookmarks=true&timeoutSeconds=60&resourceVersion=" + version_,
                             [this](std::string_view bytes) { return event(bytes); });
      if (status == 410 || expired_) {
        expired_ = false;
        while (!list()) {
          pause();
        }
      } else if (now() - began < 1) {
        pause();
      }
    }
  }

 private:
  // The token of the next page, "" for the last one.
  std::string read_page(std::string_view text, std::set<std::string>& keys) {
    const simdjson::padded_string padded(text);
    auto page = parser_.iterate(padded);
    const auto text_of = [](auto value) {
      std::string_view found;
      return value.get_string().get(found) == simdjson::SUCCESS ? std::string(found) : std::string();
    };
    simdjson::ondemand::object metadata = page["metadata"];
    version_ = text_of(metadata["resourceVersion"]);
    std::string token = text_of(metadata["continue"]);
    simdjson::ondemand::array items;
    if (page["items"].get_array().get(items) != simdjson::SUCCESS) {
      return token;  // an empty list has "null" there
    }
    for (auto item : items) {
      const auto seen = objects_.parse(item["metadata"].get_object());
      keys.insert(objects_.key(resource_, seen));
      objects_.saw(resource_, seen);
    }
    return token;
  }

  struct Event {
    std::string type;
    Seen seen;  // unless type is ERROR
  };

  std::optional<Event> read_json(std::string_view line) {
    const simdjson::padded_string padded(line);
    auto document = parser_.iterate(padded);
    std::string_view type;
    if (document["type"].get_string().get(type) != simdjson::SUCCESS) {
      return std::nullopt;
    }
    Event event{std::string(type), {}};
    simdjson::ondemand::object metadata;
    if (type == "ERROR") {
      return event;
    }
    if (document["object"]["metadata"].get_object().get(metadata) != simdjson::SUCCESS) {
      return std::nullopt;
    }
    event.seen = objects_.parse(metadata);
    return event;
  }

  // metav1.WatchEvent, with a runtime.Unknown behind four bytes that name the format, with a PartialObjectMetadata.
  Event read_protobuf(std::string_view frame) {
    constexpr std::size_t kMagic = 4;
    const protozero::data_view all(frame.data(), frame.size());
    Event event;
    const auto type = inner(all, 1);
    event.type.assign(type.data(), type.size());
    if (event.type == "ERROR") {
      return event;
    }
    const auto envelope = inner(inner(all, 2), 1);
    if (envelope.size() < kMagic) {
      throw protozero::exception();
    }
    const auto object = inner({envelope.data() + kMagic, envelope.size() - kMagic}, 2);
    event.seen = objects_.parse(protozero::pbf_reader(inner(object, 1)));
    return event;
  }

  static protozero::data_view inner(protozero::data_view message, protozero::pbf_tag_type tag) {
    protozero::pbf_reader fields(message);
    return fields.next(tag, protozero::pbf_wire_type::length_delimited) ? fields.get_view()
                                                                        : throw protozero::exception();
  }

  std::optional<Event> read(std::string_view bytes) try {
    return bytes.starts_with('{') ? read_json(bytes) : read_protobuf(bytes);
  } catch (const protozero::exception&) {
    return std::nullopt;
  }

  bool event(std::string_view bytes) {
    const auto event = read(bytes);
    expired_ = event && event->type == "ERROR";
    if (!event || expired_) {
      return false;
    }
    version_ = event->seen.version;
    if (event->type == "DELETED") {
      objects_.gone(resource_, event->seen);
    } else if (event->type != "BOOKMARK") {
      objects_.saw(resource_, event->seen);
    }
    return true;
  }

  static void pause() { std::this_thread::sleep_for(std::chrono::milliseconds(100)); }

  // Continue tokens are base64, which has three characters that a query must not have.
  static std::string encoded(const std::string& token) {
    std::string text;
    for (const char letter : token) {
      text += letter == '+' ? "%2B" : letter == '/' ? "%2F" : letter == '=' ? "%3D" : std::string(1, letter);
    }
    return text;
  }

  Connection connection_;
  Objects& objects_;
  simdjson::ondemand::parser parser_;
  const std::string path_;
  const std::size_t resource_;
  std::string version_;
  bool expired_ = false;
};

// Acknowledges drains, for ever; many at a time, one on each of its connections.
class Acknowledger {
 public:
  Acknowledger(const Server& server, Objects& objects, const std::string& ring, std::size_t at_a_time)
      : objects_(objects),
        shard_label_("shard.alpha.sharding.timebertt.dev/" + ring),
        drain_label_("drain.alpha.sharding.timebertt.dev/" + ring) {
    for (std::size_t index = 0; index < at_a_time; ++index) {
      places_.emplace_back(server);
    }
  }

  void run() {
    while (true) {
      take();
      std::this_thread::sleep_for(kTogether);
      look();
    }
  }

 private:
  static constexpr double kDeadline = 90;  // seconds for an answer

  enum class Step { kFree, kPatching, kReading, kPausing };
  struct Place {
    explicit Place(const Server& server) : connection(server) {}
    Connection connection;
    Step step = Step::kFree;
    Drain drain = {};
    double due = 0;  // when the pause is over, or the answer must be there
  };

  // Begins with as many drains as there are free places; waits for one when nothing is under way.
  void take() {
    const auto is_free = [](const Place& place) { return place.step == Step::kFree; };
    const auto places = static_cast<std::size_t>(std::ranges::count_if(places_, is_free));
    auto drains = objects_.next_drains(places, places == places_.size());
    auto place = places_.begin();
    for (Drain& drain : drains) {
      place = std::find_if(place, places_.end(), is_free);
      place->drain = std::move(drain);
      patch(*place);
    }
  }

  // Goes on where an answer has come or a pause is over.
  void look() {
    std::vector<pollfd> descriptors;
    for (const Place& place : places_) {
      const bool waits = place.step == Step::kPatching || place.step == Step::kReading;
      descriptors.push_back({.fd = waits ? place.connection.descriptor() : -1, .events = POLLIN, .revents = 0});
    }
    poll(descriptors.data(), descriptors.size(), 0);
    const auto when = now();
    for (std::size_t index = 0; index < places_.size(); ++index) {
      Place& place = places_[index];
      const bool is_late = place.step != Step::kFree && when >= place.due;
      const bool has_answer =
          place.connection.descriptor() < 0 || (descriptors[index].revents != 0 && place.connection.has_answer());
      if ((place.step == Step::kPatching || place.step == Step::kReading) && is_late && !has_answer) {
        place.connection.close();
        failed(place);
      } else if (place.step == Step::kPatching && has_answer) {
        patched(place, place.connection.finish().status);
      } else if (place.step == Step::kReading && has_answer) {
        read(place, place.connection.finish());
      } else if (place.step == Step::kPausing && is_late) {
        read(place);
      }
    }
  }

  void patch(Place& place) {
    if (!objects_.wanted(place.drain)) {
      finish(place, Objects::Outcome::kDropped);
      return;
    }
    const auto& target = place.drain.target;
    const json labels = {{shard_label_, target.empty() ? json(nullptr) : json(target)}, {drain_label_, nullptr}};
    const json body = {{"metadata", {{"resourceVersion", place.drain.version}, {"labels", labels}}}};
    place.step = Step::kPatching;
    place.due = now() + kDeadline;
    place.connection.start_merge_patch(place.drain.path + "?fieldManager=sim", body.dump());
  }

  void patched(Place& place, int status) {
    if (status == 200) {
      finish(place, Objects::Outcome::kAcknowledged);
    } else if (status == 404) {
      finish(place, Objects::Outcome::kDropped);
    } else if (status == 409) {
      objects_.count_conflict();
      read(place);
    } else {
      failed(place);
    }
  }

  void failed(Place& place) {
    objects_.count_error();
    place.step = Step::kPausing;
    place.due = now() + 0.1;
  }

  // Whatever went wrong: what is the object now?
  void read(Place& place) {
    place.step = Step::kReading;
    place.due = now() + kDeadline;
    place.connection.start_get(place.drain.path);
  }

  void read(Place& place, const Connection::Answer& answer) {
    if (answer.status == 200) {
      const simdjson::padded_string padded(answer.body);
      auto document = parser_.iterate(padded);
      auto next = objects_.again(place.drain, objects_.parse(document["metadata"].get_object()));
      if (!next) {
        finish(place, Objects::Outcome::kDropped);
        return;
      }
      place.drain = *std::move(next);
    } else if (answer.status == 404) {
      finish(place, Objects::Outcome::kDropped);
      return;
    }
    patch(place);
  }

  void finish(Place& place, Objects::Outcome outcome) {
    place.step = Step::kFree;
    objects_.finished(place.drain, outcome);
  }

  std::deque<Place> places_;
  Objects& objects_;
  simdjson::ondemand::parser parser_;
  const std::string shard_label_, drain_label_;
};

json obey(Objects& objects, const std::string& line) {
  std::istringstream words(line);
  std::string command, word;
  words >> command;
  if (command == "run") {
    while (words >> word) {
      objects.run(word);
    }
    return json::object();
  }
  if (command == "stop") {
    double may_move = 0;
    words >> word >> may_move;
    objects.stop(word, may_move);
    return json::object();
  }
  if (command == "acknowledge") {
    std::string does;
    words >> does;
    while (words >> word) {
      objects.set_acknowledging(word, does == "on");
    }
    return json::object();
  }
  if (command == "like-go") {
    while (words >> word) {
      objects.make_like_go(word);
    }
    return json::object();
  }
  if (command == "mark") {
    objects.mark();
    return json::object();
  }
  if (command == "report") {
    return objects.report();
  }
  if (command == "history") {
    words >> word;
    std::ofstream(word) << objects.history();
    return json::object();
  }
  return {{"error", "no such command: " + command}};
}

int main(const std::vector<std::string>& arguments) {
  Server server;
  std::string ring;
  std::size_t workers = 32;
  std::vector<std::pair<std::string, bool>> paths;
  for (std::size_t index = 0; index + 1 < arguments.size(); index += 2) {
    const auto& flag = arguments[index];
    const auto& value = arguments[index + 1];
    if (flag == "--server") {
      server.url = value;
    } else if (flag == "--ca") {
      server.ca_file = value;
    } else if (flag == "--certificate") {
      server.certificate_file = value;
    } else if (flag == "--key") {
      server.key_file = value;
    } else if (flag == "--ring") {
      ring = value;
    } else if (flag == "--workers") {
      workers = std::stoul(value);
    } else if (flag == "--main" || flag == "--controlled") {
      paths.emplace_back(value, flag == "--controlled");
    } else {
      std::cerr << "agent: unknown flag " << flag << '\n';
      return 2;
    }
  }
  if (const char* token = std::getenv("AGENT_TOKEN")) {
    server.token = token;
  }
  // Never destroyed: the threads use it until the process ends.
  auto& objects = *new Objects(ring);
  std::vector<Follower*> followers;
  for (const auto& [path, controlled] : paths) {
    auto* follower = new Follower(server, objects, path, objects.add_resource(path, controlled));
    const auto deadline = now() + 20;
    while (!follower->list()) {
      if (now() > deadline) {
        std::cerr << "agent: cannot list " << path << '\n';
        return 1;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    followers.push_back(follower);
  }
  for (auto* follower : followers) {
    std::thread([follower] { follower->follow(); }).detach();
  }
  std::thread([acknowledger = new Acknowledger(server, objects, ring, workers)] { acknowledger->run(); }).detach();
  std::cout << json{{"ready", true}} << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    std::cout << obey(objects, line) << std::endl;
  }
  std::_Exit(0);
}

}  // namespace
}  // namespace agent

int main(int argc, char** argv) {
  // Tests kill the API server: a write to a connection that is gone is an error to try again, not our end.
  std::signal(SIGPIPE, SIG_IGN);
  return agent::main(std::vector<std::string>(argv + 1, argv + argc));
}
