import "./format_cases.js";
import "./scale_cases.js";
import "./sequence_cases.js";
import "./layout_cases.js";
import "./waves_cases.js";
import "./words_cases.js";
import "./query_cases.js";
import "./stream_cases.js";
import "./following_cases.js";

export { run } from "./check.js";
