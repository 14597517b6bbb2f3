// Checks the links of the built site: each leads to a page and, behind a #, to a part of it that is there.
import { readFileSync, readdirSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'
import { fileURLToPath } from 'node:url'

const dist = join(dirname(fileURLToPath(import.meta.url)), 'dist')
const pages = new Map()
for (const name of readdirSync(dist, { recursive: true }).filter(name => name.endsWith('.html') && name !== '404.html')) {
  const text = readFileSync(join(dist, name), 'utf8')
  const main = text.slice(text.indexOf('<main'), text.indexOf('</main>'))
  pages.set('/' + name.replace(/(index)?\.html$/, ''), {
    anchors: new Set([...text.matchAll(/ id="([^"]+)"/g)].map(m => m[1])),
    links: [...main.matchAll(/<a [^>]*href="([^"]+)"/g)].map(m => m[1].replaceAll('&amp;', '&')),
  })
}
const base = process.env.DOCS_BASE ?? '/'
let checked = 0
const wrong = []
for (const [page, { links }] of pages) {
  for (const link of links.filter(link => !/^[a-z]+:/.test(link))) {
    const [path, anchor] = decodeURI(link).split('#')
    let target = path === '' ? page : posix.resolve(posix.dirname(page + 'x'), path.startsWith(base) ? '/' + path.slice(base.length) : path)
    if (path.endsWith('/') && !target.endsWith('/')) target += '/'
    checked++
    const to = pages.get(target)
    if (!to && !/\.\w+$/.test(target)) wrong.push(`${page}: ${link}: there is no page ${target}`)
    if (to && anchor && !to.anchors.has(anchor)) wrong.push(`${page}: ${link}: the page has no part #${anchor}`)
  }
}
console.log(`${pages.size} pages, ${checked} links`)
if (wrong.length) {
  console.error(wrong.join('\n'))
  process.exit(1)
}
