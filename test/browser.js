// browser.js CHROMIUM PAGE OUT - opens PAGE in headless Chromium at 360 and 1280 pixels, in
// light and dark, on screen and on paper; checks what a reader would see, and leaves the
// screenshots in OUT. It talks to the browser through a pipe, so that node suffices.
'use strict';
const { spawn } = require('child_process');
const fs = require('fs');
const os = require('os');
const path = require('path');

const [chromium, page, out] = process.argv.slice(2);
let passed = 0, failed = 0;
function check(what, good, seen) {
    if (good) { passed++; return; }
    failed++;
    console.log(`FAIL  ${what}${seen === undefined ? '' : ': ' + JSON.stringify(seen)}`);
}

class Browser {
    constructor() {
        this.profile = fs.mkdtempSync(path.join(os.tmpdir(), 'vtag-chromium-'));
        const flags = ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
            '--disable-background-networking', '--disable-component-update', '--disable-sync',
            '--disable-dev-shm-usage', '--remote-debugging-pipe', `--user-data-dir=${this.profile}`];
        this.child = spawn(chromium, flags, { stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'] });
        this.waiting = new Map();
        this.events = [];
        this.next = 1;
        this.rest = Buffer.alloc(0);
        this.child.stdio[4].on('data', (bytes) => this.take(bytes));
        this.gone = new Promise((resolve) => this.child.on('exit', resolve));
    }
    take(bytes) {
        this.rest = Buffer.concat([this.rest, bytes]);
        for (let end; (end = this.rest.indexOf(0)) >= 0; this.rest = this.rest.subarray(end + 1)) {
            const message = JSON.parse(this.rest.subarray(0, end).toString());
            if (!message.id) { this.events.push(message); continue; }
            const { resolve, reject } = this.waiting.get(message.id);
            this.waiting.delete(message.id);
            if (message.error) reject(new Error(message.error.message));
            else resolve(message.result);
        }
    }
    send(method, params = {}) {
        const id = this.next++;
        const message = { id, method, params };
        if (this.session) message.sessionId = this.session;
        this.child.stdio[3].write(JSON.stringify(message) + '\0');
        return new Promise((resolve, reject) => this.waiting.set(id, { resolve, reject }));
    }
    async open(url) {
        const { targetId } = await this.send('Target.createTarget', { url: 'about:blank' });
        this.session = (await this.send('Target.attachToTarget', { targetId, flatten: true })).sessionId;
        for (const domain of ['Page', 'Runtime', 'Log', 'Network']) await this.send(`${domain}.enable`);
        await this.go(url);
    }
    async go(url) {
        const before = this.events.length;
        await this.send('Page.navigate', { url });
        while (!this.events.slice(before).some((e) => e.method === 'Page.loadEventFired')) {
            await new Promise((resolve) => setTimeout(resolve, 20));
        }
    }
    async look(f, ...args) {
        const expression = `(${f})(${args.map((a) => JSON.stringify(a)).join(',')})`;
        const r = await this.send('Runtime.evaluate', { expression, returnByValue: true });
        if (r.exceptionDetails) throw new Error(r.exceptionDetails.exception.description);
        return r.result.value;
    }
    async view(width, scheme, media = '') {
        await this.send('Emulation.setDeviceMetricsOverride',
            { width, height: width < 600 ? 780 : 900, deviceScaleFactor: 1, mobile: width < 600 });
        await this.send('Emulation.setEmulatedMedia',
            { media, features: [{ name: 'prefers-color-scheme', value: scheme }] });
    }
    async shoot(name) {
        const { cssContentSize: s } = await this.send('Page.getLayoutMetrics');
        const clip = { x: 0, y: 0, width: s.width, height: s.height, scale: 1 };
        const { data } = await this.send('Page.captureScreenshot', { captureBeyondViewport: true, clip });
        fs.writeFileSync(path.join(out, name), Buffer.from(data, 'base64'));
    }
    async close() {
        await this.send('Browser.close').catch(() => {});
        await this.gone;
        fs.rmSync(this.profile, { recursive: true, force: true, maxRetries: 5 });
    }
}

// ---- run inside the page ------------------------------------------------------------

function numbersThatDiffer() { // each marked number against the status object in the page
    const status = JSON.parse(document.getElementById('status').textContent);
    const bad = [];
    const marked = document.querySelectorAll('[data-at]');
    for (const e of marked) {
        const at = e.dataset.at;
        const want = at.slice(1).split('/').reduce((v, k) => (v === undefined ? v : v[k]), status);
        const text = e.textContent.trim();
        let same;
        if (text === '-') same = want === undefined;
        else if (typeof want === 'string') same = text === want;
        else if (text.endsWith('%')) {
            same = Math.abs(parseFloat(text) - Math.floor(want * 10000 + 1e-7) / 100) < 0.0101;
        } else {
            same = Math.abs(Number(text.replace(/,/g, '')) - want) <= Math.abs(want) * 1e-3 &&
                (!Number.isInteger(want) || Number(text.replace(/,/g, '')) === want || want >= 10000);
        }
        if (!same) bad.push([at, text, want]);
    }
    return { count: marked.length, bad };
}

function poorContrast() { // texts whose colour is too near to what lies behind them
    const parse = (c) => c.match(/[\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = (e) => {
        for (; e; e = e.parentElement) {
            const c = parse(getComputedStyle(e).backgroundColor);
            if (c.length < 4 || c[3] > 0) return c;
        }
        return [255, 255, 255];
    };
    const bad = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let n; (n = walk.nextNode());) {
        const e = n.parentElement;
        if (!n.data.trim() || e.closest('script,title,[hidden]')) continue;
        const style = getComputedStyle(e);
        const a = light(parse(e.closest('svg') ? style.fill : style.color)), b = light(behind(e));
        const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        if (ratio < 4.5) bad.push([n.data.trim().slice(0, 30), ratio.toFixed(2)]);
    }
    return bad;
}

function outside() { // elements that stick out of the window on the right
    return [...document.querySelectorAll('body *')]
        .filter((e) => e.getBoundingClientRect().right > document.documentElement.clientWidth + 0.5)
        .slice(0, 5).map((e) => `${e.tagName} ${e.getAttribute('class')} ${e.textContent.slice(0, 30)}`);
}

function overlapping() { // texts of one chart that lie on each other
    const bad = [];
    for (const svg of document.querySelectorAll('.plot > svg')) {
        const boxes = [...svg.querySelectorAll('text')].filter((t) => t.textContent)
            .map((t) => [t.textContent, t.getBoundingClientRect()]);
        boxes.forEach(([a, r], i) => boxes.slice(i + 1).forEach(([b, s]) => {
            const wide = Math.min(r.right, s.right) - Math.max(r.left, s.left);
            const high = Math.min(r.bottom, s.bottom) - Math.max(r.top, s.top);
            if (wide > 1 && high > 4) bad.push([a, b]);
        }));
    }
    return bad;
}

function structure() {
    const ids = [...document.querySelectorAll('main > section')].map((s) => s.id);
    return {
        ids,
        words: [...document.querySelectorAll('.word b')].map((b) => b.textContent),
        unnamed: [...document.querySelectorAll('svg')]
            .filter((s) => !s.closest('[aria-hidden],svg svg') && !s.getAttribute('aria-label')).length,
        tables: [...document.querySelectorAll('table')]
            .filter((t) => !t.querySelector('thead th[scope=col]') || !t.getAttribute('aria-label')).length,
        elements: document.querySelectorAll('script:not([type="application/json"]),img,iframe,link,object').length,
        charts: document.querySelectorAll('.plot > svg').length,
    };
}

// ---- the test ------------------------------------------------------------------------

async function main() {
    const b = new Browser();
    const late = setTimeout(() => { b.child.kill('SIGKILL'); throw new Error('no answer in 120 s'); }, 120000);
    const url = 'file://' + path.resolve(page);
    await b.open(url);
    const s = await b.look(structure);
    check('nine parts in their order', s.ids.join() ===
        'verdict,tags,scores,backfill,shadow,rollback,retention,quarantine,history', s.ids);
    check('a verdict in one word', s.words.every((w) => ['GO', 'HOLD', 'FORCED'].includes(w)), s.words);
    check('every chart has a name', s.unnamed === 0, s.unnamed);
    check('every table has headers and a name', s.tables === 0, s.tables);
    check('nothing that loads or runs', s.elements === 0, s.elements);
    check('charts', s.charts >= 1, s.charts);
    const n = await b.look(numbersThatDiffer);
    check('numbers are marked', n.count >= 6, n.count);
    check('numbers equal status --json', n.bad.length === 0, n.bad);
    check('no broken text', !(await b.look(() => document.body.innerText.includes('\ufffd'))));
    const grounds = {};
    for (const width of [360, 1280]) {
        for (const scheme of ['light', 'dark']) {
            const at = `${width}-${scheme}`;
            await b.view(width, scheme);
            await b.go(url);
            check(`${at}: nothing sticks out`, (await b.look(outside)).length === 0, await b.look(outside));
            const poor = await b.look(poorContrast);
            check(`${at}: contrast of every text`, poor.length === 0, poor.slice(0, 6));
            const clash = await b.look(overlapping);
            check(`${at}: no chart text on another`, clash.length === 0, clash);
            grounds[at] = await b.look(() => getComputedStyle(document.body).backgroundColor);
            await b.shoot(`${at}.png`);
        }
    }
    check('light and dark differ', grounds['360-light'] !== grounds['360-dark'], grounds);
    await b.send('Emulation.clearDeviceMetricsOverride');
    await b.view(1280, 'dark', 'print');
    check('paper is white in the dark too',
        (await b.look(() => getComputedStyle(document.body).backgroundColor)) === 'rgb(255, 255, 255)');
    await b.send('Emulation.setEmulatedMedia', { media: '', features: [] });
    await b.send('Emulation.clearDeviceMetricsOverride');
    const { data } = await b.send('Page.printToPDF', { preferCSSPageSize: true, printBackground: true });
    fs.writeFileSync(path.join(out, 'print.pdf'), Buffer.from(data, 'base64'));
    check('it prints', data.length > 10000, data.length);
    const noise = b.events.filter((e) => ['Runtime.exceptionThrown', 'Runtime.consoleAPICalled', 'Log.entryAdded']
        .includes(e.method)).map((e) => JSON.stringify(e.params).slice(0, 200));
    check('a silent console', noise.length === 0, noise);
    const asked = b.events.filter((e) => e.method === 'Network.requestWillBeSent')
        .map((e) => e.params.request.url).filter((u) => u !== url && u !== 'about:blank');
    check('no request but the page', asked.length === 0, asked);
    clearTimeout(late);
    await b.close();
    console.log(`${passed} passed, ${failed} failed`);
    process.exit(failed ? 1 : 0);
}

main().catch((e) => {
    console.log(`FAIL  ${e.stack}`);
    console.log(`${passed} passed, ${failed + 1} failed`);
    process.exit(1);
});
