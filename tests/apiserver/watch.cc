#include "tests/apiserver/watch.h"

#include <algorithm>
#include <utility>
#include <vector>

namespace sharder::apiserver {

namespace {

std::string event(std::string_view type, const std::string& object) {
  std::string line;
  line.reserve(object.size() + 40);
  line.append(R"({"type":")").append(type).append(R"(","object":)").append(object).append("}\n");
  return line;
}

// An event always has apiVersion and kind.
Form event_form(Form form) {
  return form == Form::kListItem ? Form::kFull : form;
}

}  // namespace

std::string watch_event(const Change& change, const Filter& filter, const Resource& resource, Form form) {
  if (!change.key.starts_with(filter.prefix)) {
    return {};
  }
  const bool now = change.object && filter.matches(*change.object);
  const bool before = change.previous && filter.matches(*change.previous);
  form = event_form(form);
  if (now) {
    return event(before ? "MODIFIED" : "ADDED", change.object->text(resource, form));
  }
  return before ? event("DELETED", change.previous->text(resource, form, change.version)) : std::string();
}

std::string added_event(const Object& object, const Resource& resource, Form form) {
  return event("ADDED", object.text(resource, event_form(form)));
}

std::string bookmark_event(std::uint64_t version, const Resource& resource, Form form, bool initial_end) {
  nlohmann::json metadata = {{"resourceVersion", std::to_string(version)}, {"creationTimestamp", nullptr}};
  if (initial_end) {
    metadata["annotations"]["k8s.io/initial-events-end"] = "true";
  }
  const bool partial = form == Form::kMetadata;
  const nlohmann::json object = {{"apiVersion", partial ? "meta.k8s.io/v1" : resource.api_version()},
                                 {"kind", partial ? "PartialObjectMetadata" : resource.kind},
                                 {"metadata", metadata}};
  return event("BOOKMARK", object.dump());
}

std::string error_event(const Status& status) {
  return event("ERROR", status.to_json().dump());
}

WatchStream::WatchStream(Options options, std::uint64_t version, std::unique_ptr<Database::Cursor> cursor)
    : options_(std::move(options)),
      cursor_(std::move(cursor)),
      version_(version),
      next_bookmark_(std::chrono::steady_clock::now() + options_.bookmark_interval) {}

void WatchStream::append_bookmark(std::string& data, bool initial_end) {
  data += bookmark_event(version_, *options_.resource, options_.form, initial_end);
  told_version_ = version_;
  next_bookmark_ = std::chrono::steady_clock::now() + options_.bookmark_interval;
}

WatchStream::Step WatchStream::next(std::chrono::milliseconds longest_wait) {
  Step step;
  if (!std::exchange(started_, true)) {
    step.data = std::move(options_.head);
    if (options_.initial_end) {
      append_bookmark(step.data, true);
    }
    if (options_.end_after_head) {
      step.state = State::kEnded;
      return step;
    }
    if (!step.data.empty()) {
      return step;
    }
  }
  const auto now = std::chrono::steady_clock::now();
  auto until = std::min(options_.end, now + longest_wait);
  if (options_.bookmarks) {
    until = std::min(until, next_bookmark_);
  }
  const Database::Cursor::Batch batch = cursor_->next(until);
  for (const Change& change : batch.changes) {
    step.data += watch_event(change, options_.filter, *options_.resource, options_.form);
  }
  version_ = std::max(version_, batch.version);
  if (batch.too_old) {
    step.data += error_event(expired("too old resource version: " + std::to_string(version_)));
    step.state = State::kEnded;
    return step;
  }
  {
    const std::lock_guard lock(mutex_);
    if (ending_) {
      step.data += ending_->data;
      step.state = ending_->state;
      return step;
    }
  }
  const auto later = std::chrono::steady_clock::now();
  const bool over = later >= options_.end;
  if (options_.bookmarks && version_ != told_version_ && (over || later >= next_bookmark_)) {
    append_bookmark(step.data, false);
  } else if (later >= next_bookmark_) {
    next_bookmark_ = later + options_.bookmark_interval;
  }
  step.state = over ? State::kEnded : State::kOpen;
  return step;
}

void WatchStream::end(State how, std::string last) {
  {
    const std::lock_guard lock(mutex_);
    ending_ = Step{how, std::move(last)};
  }
  if (cursor_) {
    cursor_->interrupt();
  }
}

std::shared_ptr<void> WatchRegistry::add(std::shared_ptr<WatchStream> stream, Request request) {
  auto* entry = new Entry{std::move(stream), std::move(request)};
  {
    const std::lock_guard lock(mutex_);
    entries_.insert(entry);
  }
  return {static_cast<void*>(entry), [this, entry](void*) {
            {
              const std::lock_guard lock(mutex_);
              entries_.erase(entry);
            }
            delete entry;
          }};
}

int WatchRegistry::end(const std::function<bool(const Request&)>& matches, WatchStream::State how,
                       const std::string& last) {
  std::vector<std::shared_ptr<WatchStream>> streams;
  {
    const std::lock_guard lock(mutex_);
    for (const Entry* entry : entries_) {
      if (matches(entry->request)) {
        streams.push_back(entry->stream);
      }
    }
  }
  for (const auto& stream : streams) {
    stream->end(how, last);
  }
  return static_cast<int>(streams.size());
}

std::size_t WatchRegistry::size() const {
  const std::lock_guard lock(mutex_);
  return entries_.size();
}

}  // namespace sharder::apiserver
