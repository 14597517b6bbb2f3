#!/usr/bin/perl
#: GET
#: GET /p/i?name=x
#: POST ? application/x-www-form-urlencoded name=posted
#: GET
use CGI qw(:standard);
print header('text/plain'), 'name ', scalar param('name') // 'none', ' path ', path_info(), ' method ', request_method(), ' url ', url(-relative => 1), ' cookie ', cookie('flavour') // 'none', "\n", h2({-class => 'x'}, 'title'), "\n";
param('name', 'set'); print textfield(-name => 'name'), "\n"; Delete('name'); print defined param('name') ? 'there' : 'gone', "\n";
