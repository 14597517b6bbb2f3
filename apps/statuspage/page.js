// The status page. Texts of clients are only ever set as textContent.
"use strict";

const byId = (id) => document.getElementById(id);

// element makes an element with a text and a class.
function element(name, text, className) {
	const e = document.createElement(name);
	if (text !== undefined) e.textContent = text;
	if (className) e.className = className;
	return e;
}

// Texts of values.
const dash = "–";

function count(n) {
	if (n < 10000) return String(n);
	if (n < 1e6) return (n / 1e3).toFixed(1) + " k";
	if (n < 1e9) return (n / 1e6).toFixed(1) + " M";
	return (n / 1e9).toFixed(1) + " G";
}

function rate(r) {
	if (r === undefined || r === null) return dash;
	return r === 0 ? "0" : r < 10 ? r.toFixed(1) : count(Math.round(r));
}

function time(ms) {
	if (ms === undefined || ms === null) return dash;
	if (ms < 1) return Math.round(ms * 1000) + " µs";
	if (ms < 10) return ms.toFixed(1) + " ms";
	if (ms < 1000) return Math.round(ms) + " ms";
	return ms < 60000 ? (ms / 1000).toFixed(1) + " s" : age(ms / 1000);
}

function age(s) {
	if (s < 60) return Math.floor(s) + " s";
	if (s < 3600) return Math.floor(s / 60) + " min";
	if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor(s % 3600 / 60) + " min";
	return Math.floor(s / 86400) + " d " + Math.floor(s % 86400 / 3600) + " h";
}

function size(bytes) {
	if (!bytes) return dash;
	const mib = bytes / 1048576;
	return mib < 1024 ? mib.toFixed(mib < 10 ? 1 : 0) + " MiB" : (mib / 1024).toFixed(1) + " GiB";
}

const stateClass = {
	ok: "good", drained: "warn", starting: "warn", failing: "bad", down: "bad",
	running: "good", waiting: "", paused: "warn", stopping: "warn", ended: "bad",
};

// Plots of the last hour.
const mostPoints = 360;
let points = [];

const mib = (n) => n === null ? null : n / 1048576;
const kinds = [
	{ title: "Requests per second", of: [(p) => p.rate] },
	{ title: "Failed per second", of: [(p) => p.failed] },
	{ title: "Duration, ms", of: [(p) => p.p50, (p) => p.p99], names: ["p50", "p99"] },
	{ title: "Worker memory, MiB", of: [(p) => mib(p.memory)] },
	{ title: "Queue", of: [(p) => p.queued] },
];
let plots = [];

function data(kind) {
	return [points.map((p) => p.at), ...kind.of.map((f) => points.map(f))];
}

function color(name) {
	return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

function short(v) {
	if (Math.abs(v) >= 1000) return v / 1000 + "k";
	return String(Math.round(v * 1000) / 1000);
}

function makePlots() {
	for (const plot of plots) plot.u.destroy();
	const parent = byId("plots");
	parent.replaceChildren();
	const axis = () => ({ stroke: color("--soft"), grid: { stroke: color("--line"), width: 1 }, ticks: { show: false }, font: "11px system-ui" });
	plots = kinds.map((kind) => {
		const box = element("div", undefined, "plot");
		const title = element("h2", kind.title);
		if (kind.names) {
			const legend = element("span", undefined, "legend");
			legend.append(element("span", kind.names[0], "first"), " ", element("span", kind.names[1], "second"));
			title.append(legend);
		}
		box.append(title);
		parent.append(box);
		const series = kind.of.map((_, i) => ({
			stroke: color(i === 0 ? "--one" : "--two"), width: 1.5, spanGaps: true, points: { show: points.length < 3 },
			fill: i === 0 && kind.of.length === 1 ? color("--one") + "22" : undefined,
		}));
		const u = new uPlot({
			width: Math.max(box.clientWidth - 20, 100), height: 120, cursor: { show: false }, legend: { show: false },
			scales: { x: { range: span }, y: { range: (_, low, high) => [0, high > 0 ? high * 1.1 : 1] } },
			axes: [{ ...axis(), size: 24, space: 60, values: (_, at) => at.map((s) => new Date(s * 1000).toTimeString().slice(0, 5)) },
				{ ...axis(), size: 44, space: 28, values: (_, all) => all.map(short) }],
			series: [{}, ...series],
		}, data(kind), box);
		return { u, kind, box };
	});
}

// span is what the plots show: all points, but ten minutes at least and an hour at most.
function span() {
	const now = Date.now() / 1000;
	const first = points.length ? points[0].at : now;
	return [Math.max(now - 3600, Math.min(now - 600, first)), now];
}

function drawPlots() {
	for (const plot of plots) plot.u.setData(data(plot.kind));
}

addEventListener("resize", () => {
	for (const plot of plots) plot.u.setSize({ width: Math.max(plot.box.clientWidth - 20, 100), height: 120 });
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", makePlots);

// The numbers.
function showSums(v) {
	const all = [
		["Requests/s", rate(v.rate)], ["p50", time(v.p50)], ["p99", time(v.p99)], ["Running", count(v.running)], ["Queue", count(v.queued)],
		["Served", count(v.requests)], ["Failed", count(v.failed)], ["Memory", size(v.memory)],
		["HTTP/1", count(v.http1)], ["HTTP/2", count(v.http2)], ["HTTP/3", count(v.http3)], ["Accepted", count(v.accepted)],
	];
	byId("sums").replaceChildren(...all.map(([name, value]) => {
		const div = element("div");
		div.append(element("dt", name), element("dd", value));
		return div;
	}));
}

function mountRow(m) {
	const row = element("tr");
	const name = element("td", m.mount);
	name.append(" ", element("small", m.kind));
	let busy = dash;
	if (m.workers) busy = m.busy + "/" + m.workers;
	else if (m.upstreams) busy = m.up + "/" + m.upstreams + " up";
	else if (m.scripts || m.runs) busy = m.scripts + " (" + count(m.runs) + " runs)";
	let restarts = dash;
	if (m.restarts) {
		restarts = String(m.restarts);
		if (m.last_cause) restarts += ", " + m.last_cause.replaceAll("_", " ") + " " + age(m.last_restart || 0) + " ago";
	}
	row.append(
		name, element("td", m.state, "state " + stateClass[m.state]), element("td", rate(m.rate), "number"), element("td", time(m.p50), "number"),
		element("td", time(m.p99), "number"), element("td", count(m.queued), "number" + (m.queued ? " warn" : "")), element("td", busy, "number wide"),
		element("td", count(m.requests), "number wide"), element("td", count(m.failed), "number" + (m.failed_rate > 0 ? " bad" : "")),
		element("td", size(m.memory), "number wide"), element("td", restarts, "wide"));
	return row;
}

const ageOf = (s) => s === undefined ? dash : age(s);

// besideRow is the row of a service or a job.
function besideRow(b) {
	const row = element("tr");
	const name = element("td", b.service || b.job);
	name.append(" ", element("small", b.service ? "service" : "job"));
	const again = b.service ? b.restarts : b.runs;
	row.append(
		name, element("td", b.state, "state " + (stateClass[b.state] || "")), element("td", ageOf(b.for), "number"),
		element("td", ageOf(b.service ? b.starts_in : b.next_in), "number"), element("td", count(again), "number"),
		element("td", b.service ? dash : count(b.failures), "number" + (b.failures ? " bad" : "")),
		element("td", b.last_run === undefined ? dash : age(b.last_run) + " ago", "number wide"),
		element("td", b.last_took === undefined ? dash : time(b.last_took * 1000), "number wide"));
	return row;
}

function processRow(m, p) {
	const row = element("tr");
	const request = element("td", p.request ? (p.request.method + " " + p.request.path).trim() : dash, p.request ? "path" : "");
	if (p.request && p.request.id) request.append(" ", element("small", p.request.id));
	if (p.request && p.request.left) request.append(" ", element("small", "(the client has left)"));
	row.append(
		element("td", m.mount), element("td", String(p.pid), "number"), element("td", p.state, "state"),
		element("td", p.id ? count(p.served) : dash, "number wide"), element("td", size(p.memory), "number wide"), element("td", age(p.age), "number wide"),
		element("td", p.request ? time(p.request.for) : dash, "number"), request);
	return row;
}

function showView(v) {
	const about = byId("about");
	let text = "pagi-bridge " + v.version + ", process " + v.pid + ", for " + age(v.uptime);
	if (v.stops_in !== undefined) text += ", is being drained and stops in " + Math.ceil(v.stops_in) + " s";
	about.textContent = text;
	about.className = v.stops_in !== undefined ? "bad" : "";
	showSums(v);
	document.querySelector("#mounts tbody").replaceChildren(...v.mounts.map(mountRow));
	const beside = [...(v.services || []), ...(v.jobs || [])].map(besideRow);
	document.querySelector("#beside tbody").replaceChildren(...beside);
	byId("beside").hidden = beside.length === 0;
	const rows = [];
	for (const m of v.mounts) {
		for (const p of m.processes || []) rows.push(processRow(m, p));
		if (m.left) {
			const more = element("tr");
			const cell = element("td", m.mount + ": " + m.left + " more");
			cell.colSpan = 8;
			more.append(cell);
			rows.push(more);
		}
	}
	document.querySelector("#processes tbody").replaceChildren(...rows);
	byId("processes").hidden = rows.length === 0;
}

const events = new EventSource("events");
events.addEventListener("history", (e) => {
	points = JSON.parse(e.data);
	makePlots();
});
events.addEventListener("point", (e) => {
	const few = points.length < 4;
	points.push(JSON.parse(e.data));
	if (points.length > mostPoints) points.shift();
	if (few) makePlots(); else drawPlots();
});
events.addEventListener("view", (e) => showView(JSON.parse(e.data)));
events.onerror = () => {
	const about = byId("about");
	about.textContent = "The gateway does not answer. Trying again…";
	about.className = "bad";
	if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 5000);
};
